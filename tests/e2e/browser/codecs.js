// Runs inside a page beside webrtc.js: what the browser says about codecs.

/** The codecs that a peer of webrtc.js really sends or receives, and what came of them. */
globalThis.flowOf = async (name) => {
  const reports = [...(await peers[name].connection.getStats()).values()];
  const codecs = new Map(reports.filter(({ type }) => type === "codec").map(({ id, mimeType, sdpFmtpLine }) => [id, { mimeType, sdpFmtpLine }]));
  const flow = {};
  for (const { type, kind, codecId, framesDecoded, keyFramesDecoded, framesDropped, framesEncoded, frameWidth, frameHeight, packetsLost, pliCount, scalabilityMode } of reports) {
    if (type !== "inbound-rtp" && type !== "outbound-rtp") continue;
    flow[kind] = { ...codecs.get(codecId), framesDecoded, keyFramesDecoded, framesDropped, framesEncoded, frameWidth, frameHeight, packetsLost, pliCount, scalabilityMode };
  }
  return flow;
};

/** What the server answers to an address, with the headers that a player may read. */
globalThis.answerOf = async (url, init) => {
  const response = await fetch(url, init);
  return {
    status: response.status,
    link: response.headers.get("link"),
    retryAfter: response.headers.get("retry-after"),
    text: await response.text(),
  };
};

/** The answer to an offer that wants to watch. */
globalThis.offerToWatch = async (url) => {
  const connection = new RTCPeerConnection();
  connection.addTransceiver("video", { direction: "recvonly" });
  connection.addTransceiver("audio", { direction: "recvonly" });
  await connection.setLocalDescription();
  const answer = await answerOf(url, { method: "POST", headers: { "content-type": "application/sdp" }, body: connection.localDescription.sdp });
  connection.close();
  return answer;
};
