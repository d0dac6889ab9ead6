// Why there is no camera or microphone, and what to do about it. In: what getUserMedia threw (W3C Media Capture, section 10.2). Out: words.
import { t, type TextKey } from "../i18n/index.js";

export type Device = "camera" | "microphone";
export type Fault =
  /** Plain http on anything but this very machine: browsers then give no devices at all. */
  | "insecure"
  | "unsupported"
  /** The person, or an earlier answer of theirs, said no. */
  | "denied"
  /** The browser may, but the operating system does not let it. */
  | "system"
  | "missing"
  /** Another program holds it. */
  | "busy"
  | "failed";

const TEXTS: Record<Fault, { title: TextKey; text: TextKey }> = {
  insecure: { title: "insecureTitle", text: "insecureText" },
  unsupported: { title: "captureUnsupportedTitle", text: "captureUnsupportedText" },
  denied: { title: "deniedTitle", text: "deniedText" },
  system: { title: "deniedTitle", text: "systemDeniedText" },
  missing: { title: "missingDeviceTitle", text: "missingDeviceText" },
  busy: { title: "busyDeviceTitle", text: "busyDeviceText" },
  failed: { title: "captureFailedTitle", text: "captureFailedText" },
};
const SHORT: Record<Device, Partial<Record<Fault, TextKey>>> = {
  camera: { denied: "cameraDenied", system: "cameraDenied", missing: "cameraMissing", busy: "cameraBusy" },
  microphone: { denied: "microphoneDenied", system: "microphoneDenied", missing: "microphoneMissing", busy: "microphoneBusy" },
};

export function faultOf(error: unknown): Fault {
  const { name = "", message = "" } = (error ?? {}) as Partial<DOMException>;
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return /system/i.test(message) ? "system" : "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "failed";
  }
}

export const faultTitle = (fault: Fault): string => t(TEXTS[fault].title);
export const faultText = (fault: Fault): string => t(TEXTS[fault].text);

/** One line for a device that is missed while the other one works. */
export function shortfall(device: Device, fault: Fault): string {
  return t(SHORT[device][fault] ?? (device === "camera" ? "cameraFailed" : "microphoneFailed"));
}
