// A face for those who have no picture: the first letter of the name on a colour of their own.

/** A hue in degrees that always is the same for the same text (FNV-1a). */
export function hue(text: string): number {
  return fingerprint(text) % 360;
}

export function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** The first letter as people see it, past a leading @ and the Arabic article. */
export function initial(name: string): string {
  const bare = name.trim().replace(/^@/, "").replace(/^ال(?=..)/u, "");
  return (Array.from(bare)[0] ?? "•").toLocaleUpperCase();
}
