"""GStreamer's webrtcbin as a viewer or a publisher, until SIGTERM.

Usage: gstreamer_peer.py watch|watch-tcp|publish URL [TOKEN]
watch-tcp: as in a network that lets no UDP through.
"""

import os
import signal
import sys

import gi

for name in ("Gst", "GstSdp", "GstWebRTC"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 the versions come first

from endpoint import Resource, say  # noqa: E402

WEBRTC = "webrtcbin name=peer bundle-policy=max-bundle"
PUBLISH = f"""{WEBRTC}
    videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 ! videoconvert !
    x264enc tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max=60 bframes=0 !
    video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency !
    application/x-rtp,media=video,encoding-name=H264,payload=96 ! queue ! peer.
    audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay !
    application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! queue ! peer."""
RECEIVED = (
    "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,"
    "packetization-mode=(string)1,profile-level-id=(string)42e01f",
    "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97,encoding-params=(string)2",
)


class Peer:
    def __init__(self, loop, only, url, token=None):
        self.loop = loop
        self.only = only
        self.resource = Resource(url, token)
        self.pipeline = self.peer = None
        self.video = {"frames": 0}
        self.audio = {"frames": 0, "energy": 0.0}

    def publish(self):
        self._prepare(Gst.parse_launch(PUBLISH))
        # Once the encoders have said what they make.
        self.peer.connect("on-negotiation-needed", self._make_offer)
        self.pipeline.set_state(Gst.State.PLAYING)

    def watch(self):
        pipeline = Gst.Pipeline()
        pipeline.add(Gst.parse_launch(WEBRTC))
        self._prepare(pipeline)
        pipeline.set_state(Gst.State.PLAYING)
        for caps in RECEIVED:
            direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
        self._make_offer()

    def _prepare(self, pipeline):
        self.pipeline, self.peer = pipeline, pipeline.get_by_name("peer")
        # By default each socket is tied to a network card, from where the server on loopback is out of reach.
        # Kept here: webrtcbin's own reference is a floating one, which Python takes over.
        self.agent = self.peer.get_property("ice-agent")
        self.agent.emit("add-local-ip-address", "127.0.0.1")
        self.peer.connect("notify::ice-gathering-state", lambda *_: GLib.idle_add(self._send_offer))
        self.peer.connect("pad-added", self._receive)
        bus = pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._fail)
        bus.connect("message::element", self._hear)
        GLib.timeout_add(200, self._tell)

    def _make_offer(self, *_):
        self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self._keep_offer))

    def _keep_offer(self, promise):
        # The offer lives in the reply, so the reply is kept meanwhile.
        reply = promise.get_reply()
        self.peer.emit("set-local-description", reply["offer"], Gst.Promise.new())

    def _send_offer(self):
        """With every candidate in it: what gathers after this is not sent."""
        if self.peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            text = self.resource.offer(self.peer.get_property("local-description").sdp.as_text())
            _, sdp = GstSdp.SDPMessage.new_from_text("".join(filter(self._is_reachable, text.splitlines(keepends=True))))
            answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
            self.peer.emit("set-remote-description", answer, Gst.Promise.new())

    def _is_reachable(self, line):
        return not self.only or not line.startswith("a=candidate:") or f" {self.only} " in line

    def _receive(self, _, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        decoder = Gst.ElementFactory.make("decodebin")
        decoder.connect("pad-added", self._count)
        self._attach(decoder)
        pad.link(decoder.get_static_pad("sink"))

    def _count(self, _, pad):
        is_video = pad.get_current_caps().get_structure(0).get_name().startswith("video/")
        meter = "identity" if is_video else "level interval=100000000 post-messages=true"
        sink = Gst.parse_bin_from_description(
            f"queue ! {meter} ! fakesink sync=false name=sink signal-handoffs=true", True
        )
        sink.get_by_name("sink").connect("handoff", self._video_frame if is_video else self._audio_frame)
        self._attach(sink)
        pad.link(sink.get_static_pad("sink"))

    def _attach(self, element):
        self.pipeline.add(element)
        element.sync_state_with_parent()

    def _video_frame(self, _, __, pad):
        shape = pad.get_current_caps().get_structure(0)
        self.video = {
            "frames": self.video["frames"] + 1,
            "width": shape.get_value("width"),
            "height": shape.get_value("height"),
        }

    def _audio_frame(self, *_):
        self.audio["frames"] += 1

    def _hear(self, _, message):
        """`level` tells the loudness of each tenth of a second, in decibels."""
        told = message.get_structure()
        if told.get_name() == "level":
            channels = told.get_value("rms")
            power = sum(10 ** (decibels / 10) for decibels in channels) / len(channels)
            self.audio["energy"] += power * told.get_value("duration") / Gst.SECOND

    def _tell(self):
        say(state=self.peer.get_property("connection-state").value_nick, video=self.video, audio=self.audio)
        return True

    def _fail(self, _, message):
        error, detail = message.parse_error()
        raise SystemExit(f"{error.message}\n{detail}")

    def end(self):
        self.resource.end()
        self.pipeline.set_state(Gst.State.NULL)
        self.loop.quit()


def told_by_exit(*error):
    """An exception in a callback would only be printed; here it ends the peer."""
    sys.__excepthook__(*error)
    sys.stderr.flush()
    os._exit(1)


def main(what, url, token=None):
    sys.excepthook = told_by_exit
    Gst.init(None)
    loop = GLib.MainLoop()
    peer = Peer(loop, "tcp" if what == "watch-tcp" else None, url, token)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, peer.end)
    peer.publish() if what == "publish" else peer.watch()
    loop.run()


main(*sys.argv[1:])
