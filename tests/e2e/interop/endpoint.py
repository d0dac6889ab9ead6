"""The HTTP side of WHIP (RFC 9725) and WHEP for the peers of this folder: one POST to begin, one DELETE to end.

A peer tells what happens to it in lines of JSON on standard output, which the walks read.
"""

import json
import urllib.error
import urllib.parse
import urllib.request

# Seconds that one request may take: the server answers at once, a busy machine does not.
LIMIT = 30

# Whatever proxy this machine uses, the server is on the machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(**facts):
    print(json.dumps(facts), flush=True)


class Resource:
    """One resource of the server, from its 201 to its DELETE."""

    def __init__(self, endpoint, token):
        self._endpoint = endpoint
        self._token = token
        self._location = None

    def offer(self, sdp):
        """The server's answer to an offer. An offer that is refused ends this peer, with the reason told."""
        status, headers, body = self._ask("POST", self._endpoint, sdp)
        say(offer=sdp, status=status, answer=body)
        if status != 201:
            raise SystemExit(f"the offer was refused with {status}: {body}")
        self._location = urllib.parse.urljoin(self._endpoint, headers["Location"])
        return body

    def end(self):
        status, _, _ = self._ask("DELETE", self._location)
        say(ended=status)

    def _ask(self, method, url, sdp=None):
        request = urllib.request.Request(url, method=method, data=sdp.encode() if sdp else None)
        if sdp:
            request.add_header("Content-Type", "application/sdp")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with _opener.open(request, timeout=LIMIT) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers, refusal.read().decode()
