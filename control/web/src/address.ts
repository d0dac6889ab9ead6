// Addresses as control tells them, and as this browser reaches them.

export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/** A server that was told no address of its own names loopback; whoever came here from elsewhere finds it where the page is from. */
export function reachable(address: string): URL {
  const url = new URL(address, location.href);
  return isLoopback(url.hostname) ? new URL(url.pathname + url.search, location.href) : url;
}

/** The same of an address that encoders push to: another port, so only the host is the page's. */
export function reachableRtmp(address: string): string {
  const [, scheme, host, rest] = /^(rtmps?:\/\/)(\[[^\]]*\]|[^:/]+)(.*)$/.exec(address) ?? [];
  return host !== undefined && isLoopback(host) ? `${scheme}${location.hostname}${rest}` : address;
}
