"""aiortc as a viewer or a publisher, until SIGTERM.

Usage: aiortc_peer.py watch|publish URL [TOKEN]
"""

import array
import asyncio
import math
import signal
import sys
from fractions import Fraction

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack
from av import AudioFrame, VideoFrame

from endpoint import Resource, say

WIDTH, HEIGHT = 640, 360
SOUND_RATE = 48_000
SOUND_SAMPLES = SOUND_RATE // 50


class Bars(VideoStreamTrack):
    """Bars that move: every frame differs from the one before."""

    drawn = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for number, plane in enumerate(frame.planes):
            row = bytes((x * 4 + self.drawn * 8) % 220 + 16 if number == 0 else 128 for x in range(plane.line_size))
            plane.update(row * plane.height)
        self.drawn += 1
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(MediaStreamTrack):
    """440 Hz on both sides, 20 ms at a time."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self._made = 0
        self._began = None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self._began = self._began or loop.time()
        await asyncio.sleep(self._began + self._made / SOUND_RATE - loop.time())
        samples = array.array("h")
        for at in range(self._made, self._made + SOUND_SAMPLES):
            level = int(8_000 * math.sin(2 * math.pi * 440 * at / SOUND_RATE))
            samples.extend((level, level))
        frame = AudioFrame(format="s16", layout="stereo", samples=SOUND_SAMPLES)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, self._made, Fraction(1, SOUND_RATE)
        self._made += SOUND_SAMPLES
        return frame


class Seen:
    """What has been decoded so far."""

    def __init__(self):
        self.video = {"frames": 0}
        self.audio = {"frames": 0, "energy": 0.0}

    async def picture(self, track):
        while True:
            frame = await track.recv()
            self.video = {"frames": self.video["frames"] + 1, "width": frame.width, "height": frame.height}

    async def sound(self, track):
        while True:
            frame = await track.recv()
            samples = array.array("h", bytes(frame.planes[0]))
            power = sum((sample / 32_768) ** 2 for sample in samples) / len(samples)
            self.audio["frames"] += 1
            self.audio["energy"] += power * frame.samples / frame.sample_rate


async def until_the_track_ends(reading):
    try:
        await reading
    except MediaStreamError:
        pass


async def tell(connection, seen):
    while True:
        await asyncio.sleep(0.2)
        sent = {}
        for report in (await connection.getStats()).values():
            if report.type == "outbound-rtp":
                sent[report.kind] = report.packetsSent
        say(state=connection.connectionState, sent=sent, video=seen.video, audio=seen.audio)


async def main(what, url, token=None):
    # Host candidates are enough on one machine, and nobody outside is asked.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    seen, tasks = Seen(), []
    if what == "publish":
        for track in (Bars(), Tone()):
            connection.addTransceiver(track, direction="sendonly")
    else:
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")

    @connection.on("track")
    def read(track):
        reading = seen.picture(track) if track.kind == "video" else seen.sound(track)
        tasks.append(asyncio.create_task(until_the_track_ends(reading)))

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await connection.setLocalDescription(await connection.createOffer())
    resource = Resource(url, token)
    answer = await asyncio.to_thread(resource.offer, connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    tasks.append(asyncio.create_task(tell(connection, seen)))
    await stop.wait()
    await asyncio.to_thread(resource.end)
    for task in tasks:
        task.cancel()
    await connection.close()


asyncio.run(main(*sys.argv[1:]))
