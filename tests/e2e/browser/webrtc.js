// Runs inside a page: a WHEP viewer and a WHIP publisher of a few lines each, as an app's developer would write them.
// `peers` keeps them alive; `look` tells what the browser's own statistics say.
globalThis.peers = {};

/** One POST: offer out, answer in. Gives back the status where there is no answer. */
async function exchange(connection, url, token, only) {
  await connection.setLocalDescription();
  const headers = { "content-type": "application/sdp", ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(url, { method: "POST", headers, body: connection.localDescription.sdp });
  if (response.status !== 201) return { status: response.status, problem: await response.text() };
  // A network that lets only one transport through, as far as this peer knows.
  const fits = (line) => !only || !line.startsWith("a=candidate:") || line.includes(` ${only} `);
  const sdp = (await response.text()).split("\r\n").filter(fits).join("\r\n");
  await connection.setRemoteDescription({ type: "answer", sdp });
  return { status: 201, location: response.headers.get("location"), etag: response.headers.get("etag") };
}

/** `places`: how many pictures and sounds are offered room for. */
globalThis.watchByWhep = async (name, url, token, only, places = 1) => {
  const connection = new RTCPeerConnection();
  const video = document.createElement("video");
  video.autoplay = true;
  video.playsInline = true;
  document.body.append(video);
  const stream = new MediaStream();
  video.srcObject = stream;
  const streams = {};
  connection.ontrack = ({ track, streams: [from] }) => {
    (streams[from?.id] ??= []).push(track);
    if (Object.keys(streams).length === 1) stream.addTrack(track);
    // Chromium decodes the sound of a track only where something plays it.
    else if (track.kind === "audio") document.body.append(Object.assign(document.createElement("audio"), { autoplay: true, srcObject: from }));
  };
  for (let place = 0; place < places; place++) {
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.addTransceiver("audio", { direction: "recvonly" });
  }
  const started = performance.now();
  const peer = { connection, video, streams, started, firstFrameMs: null };
  video.requestVideoFrameCallback(() => (peer.firstFrameMs = performance.now() - started));
  peers[name] = peer;
  return Object.assign(peer, await exchange(connection, url, token, only)) && { status: peer.status, problem: peer.problem };
};

/** A moving picture and a tone, made in the page: no device is needed. `layers`: how often the picture is sent, each time half as wide; 0: sound alone. */
globalThis.publishByWhip = async (name, url, token, codec, layers = 1) => {
  const canvas = document.createElement("canvas");
  // Chromium sends three layers of a picture of this size, and two of a smaller one.
  const [width, height, rate] = layers > 1 ? [1280, 720, 15] : [640, 360, 30];
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  let drawn = 0;
  setInterval(() => {
    context.fillStyle = `hsl(${(drawn * 7) % 360} 80% 50%)`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = "white";
    context.font = "80px sans-serif";
    context.fillText(String(drawn++), 40, 200);
  }, 1000 / rate);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const destination = audio.createMediaStreamDestination();
  tone.connect(destination);
  tone.start();
  const picture = layers > 0 ? canvas.captureStream(rate).getTracks() : [];
  const stream = new MediaStream([...picture, ...destination.stream.getTracks()]);
  const connection = new RTCPeerConnection();
  for (const track of stream.getTracks()) {
    const sendEncodings = Array.from({ length: layers }, (_, at) => ({ rid: `r${at}`, scaleResolutionDownBy: 2 ** at }));
    const simulcast = track.kind === "video" && layers > 1 ? { sendEncodings } : {};
    const transceiver = connection.addTransceiver(track, { direction: "sendonly", streams: [stream], ...simulcast });
    if (track.kind === "video" && codec) {
      const all = RTCRtpSender.getCapabilities("video").codecs;
      transceiver.setCodecPreferences(all.filter((c) => c.mimeType === codec || c.mimeType === "video/rtx"));
    }
  }
  const peer = { connection, audio };
  peers[name] = peer;
  return Object.assign(peer, await exchange(connection, url, token)) && { status: peer.status, problem: peer.problem };
};

globalThis.look = async (name) => {
  const { connection, firstFrameMs } = peers[name];
  const seen = { state: connection.connectionState, firstFrameMs, layers: {} };
  for (const report of (await connection.getStats()).values()) {
    if (report.type === "inbound-rtp" || report.type === "outbound-rtp") {
      const { framesDecoded, framesEncoded, frameWidth, totalAudioEnergy, packetsLost, packetsSent, packetsReceived, freezeCount, jitterBufferDelay, jitterBufferEmittedCount } = report;
      seen[report.kind] = { framesDecoded, framesEncoded, frameWidth, totalAudioEnergy, packetsLost, packetsSent, packetsReceived, freezeCount, jitterBufferDelay, jitterBufferEmittedCount };
    }
    if (report.type === "outbound-rtp" && report.rid) seen.layers[report.rid] = report.framesSent;
    if (report.type === "candidate-pair" && report.nominated) seen.uploadBitrate = report.availableOutgoingBitrate;
    if (report.type === "transport") seen.srtp = report.srtpCipher;
    if (report.type === "candidate-pair" && report.nominated) seen.roundTrip = report.currentRoundTripTime;
  }
  return seen;
};

/** By the name of their stream: frames decoded, and how loud it has been since the last call (RMS of the whole time between). */
globalThis.lookAtStreams = async (name) => {
  const peer = peers[name];
  const { connection, streams } = peer;
  const reports = [...(await connection.getStats()).values()].filter(({ type }) => type === "inbound-rtp");
  const before = peer.heard ?? {};
  peer.heard = {};
  const of = (tracks) => {
    const seen = { frames: null, loudness: null };
    for (const track of tracks) {
      const report = reports.find(({ trackIdentifier }) => trackIdentifier === track.id);
      if (!report) continue;
      if (track.kind === "video") seen.frames = report.framesDecoded ?? 0;
      else {
        const { totalAudioEnergy: energy = 0, totalSamplesDuration: time = 0 } = report;
        const [energyThen, timeThen] = before[track.id] ?? [0, 0];
        peer.heard[track.id] = [energy, time];
        seen.loudness = time > timeThen ? Math.sqrt((energy - energyThen) / (time - timeThen)) : 0;
      }
    }
    return seen;
  };
  return Object.fromEntries(Object.entries(streams).map(([id, tracks]) => [id, of(tracks)]));
};

globalThis.hangUp = async (name, token) => {
  const { connection, location } = peers[name];
  const response = await fetch(location, { method: "DELETE", headers: token ? { authorization: `Bearer ${token}` } : {} });
  connection.close();
  delete peers[name];
  return response.status;
};

/** Turns a layer of simulcast off or on. */
globalThis.send = async (name, rid, active) => {
  const sender = peers[name].connection.getSenders().find(({ track }) => track?.kind === "video");
  const parameters = sender.getParameters();
  parameters.encodings.find((encoding) => encoding.rid === rid).active = active;
  await sender.setParameters(parameters);
  return active;
};

/** The layers of a viewer's picture, after a choice where there is one. */
globalThis.layersOf = async (name, choice, path = peers[name].location) => {
  const posted = choice && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(choice) };
  const response = await fetch(`${path}/layer`, posted);
  return { status: response.status, said: await response.json() };
};

/** As a browser does by itself when its network or its machine is too slow. */
globalThis.scale = async (name, by) => {
  const sender = peers[name].connection.getSenders().find(({ track }) => track?.kind === "video");
  const parameters = sender.getParameters();
  parameters.encodings[0].scaleResolutionDownBy = by;
  await sender.setParameters(parameters);
  return by;
};

const ufrag = (sdp) => sdp.match(/^a=ice-ufrag:(\S+)/m)[1];

/** RFC 9725 section 4.3.3: new credentials of ours for new ones of theirs. */
globalThis.restartIce = async (name, token) => {
  const peer = peers[name];
  const { connection } = peer;
  const before = ufrag(connection.remoteDescription.sdp);
  connection.restartIce();
  await connection.setLocalDescription();
  const line = (wanted) => connection.localDescription.sdp.split("\r\n").find((one) => one.startsWith(wanted));
  const fragment = [line("a=ice-ufrag:"), line("a=ice-pwd:"), line("m="), line("a=mid:"), ""].join("\r\n");
  const headers = { "content-type": "application/trickle-ice-sdpfrag", "if-match": "*", ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(peer.location, { method: "PATCH", headers, body: fragment });
  const text = await response.text();
  if (response.status !== 200) return { status: response.status, problem: text };
  peer.etag = response.headers.get("etag");
  const fresh = (kind) => text.match(new RegExp(`^a=${kind}:.*$`, "m"))[0].trim();
  const sdp = connection.remoteDescription.sdp.replaceAll(/^a=ice-ufrag:.*$/gm, fresh("ice-ufrag")).replaceAll(/^a=ice-pwd:.*$/gm, fresh("ice-pwd"));
  await connection.setRemoteDescription({ type: "answer", sdp });
  return { status: 200, before, after: ufrag(sdp) };
};

/** The server's name in the path that is used now. */
globalThis.pathOf = async (name) => {
  const reports = [...(await peers[name].connection.getStats()).values()];
  const transport = reports.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  const pair = reports.find(({ id }) => id === transport?.selectedCandidatePairId);
  return reports.find(({ id }) => id === pair?.remoteCandidateId)?.usernameFragment;
};
