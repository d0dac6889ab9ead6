// The sound to send: the microphone as it is, or mixed with what a shared screen plays. Also says how loud the microphone is.

/** Below this nobody hears anything; the meter is empty. */
const QUIET_DB = -60;

export class Sound {
  microphone: MediaStreamTrack | null = null;
  #shared: MediaStreamTrack | null = null;
  #muted = false;
  #context: AudioContext | null = null;
  #ears: AnalyserNode | null = null;
  #samples = new Float32Array(0);
  #heard: MediaStreamAudioSourceNode | null = null;
  #mix: { output: MediaStreamAudioDestinationNode; inputs: AudioNode[] } | null = null;

  /** What goes to the viewers. The microphone goes straight there: a browser may hold a graph still until somebody clicks. */
  get track(): MediaStreamTrack | null {
    return this.#mix?.output.stream.getAudioTracks()[0] ?? this.microphone;
  }

  get isMuted(): boolean {
    return this.#muted;
  }

  mute(muted: boolean): void {
    this.#muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
  }

  take(microphone: MediaStreamTrack | null): void {
    this.microphone = microphone;
    if (microphone) microphone.enabled = !this.#muted;
    this.#listen();
    this.#remix();
  }

  drop(): void {
    this.microphone?.stop();
    this.take(null);
  }

  /** The sound of a shared screen, or null when there is none any more. */
  add(shared: MediaStreamTrack | null): void {
    this.#shared?.stop();
    this.#shared = shared;
    this.#remix();
  }

  /** From 0, silence, to 1, as loud as it gets. */
  level(): number {
    if (!this.#ears || this.#muted || !this.microphone) return 0;
    if (this.#samples.length !== this.#ears.fftSize) this.#samples = new Float32Array(this.#ears.fftSize);
    const samples = this.#samples;
    this.#ears.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    return Math.min(1, Math.max(0, 1 - (10 * Math.log10(power + 1e-12)) / QUIET_DB));
  }

  /** Browsers start a graph only after a touch or a key. */
  wake(): void {
    if (this.#context?.state === "suspended") void this.#context.resume();
  }

  close(): void {
    this.add(null);
    this.drop();
    void this.#context?.close();
    this.#context = this.#ears = null;
  }

  #listen(): void {
    this.#heard?.disconnect();
    this.#heard = null;
    if (!this.microphone) return;
    this.#context ??= new AudioContext();
    this.#ears ??= this.#context.createAnalyser();
    this.#heard = this.#context.createMediaStreamSource(new MediaStream([this.microphone]));
    this.#heard.connect(this.#ears);
  }

  #remix(): void {
    for (const input of this.#mix?.inputs ?? []) input.disconnect();
    this.#mix = null;
    if (!this.#shared) return;
    this.#context ??= new AudioContext();
    const context = this.#context;
    const output = context.createMediaStreamDestination();
    const sources = [this.microphone, this.#shared].filter((track): track is MediaStreamTrack => track !== null);
    const inputs = sources.map((track) => context.createMediaStreamSource(new MediaStream([track])));
    for (const input of inputs) input.connect(output);
    this.#mix = { output, inputs };
    this.wake();
  }
}
