"""What a client is told of its limits: the headers of draft-ietf-httpapi-ratelimit-headers-11, and `Retry-After`."""

import math
from collections.abc import Mapping

from keyfold.domain.rates import Rate, Standing


def rate_headers(standings: Mapping[str, tuple[Rate, Standing]]) -> dict[str, str]:
    """The headers for each policy by its name, which is ASCII without quotes or backslashes (RFC 9651, 3.3.3).

    `RateLimit-Policy: "key";q=100;w=60` and `RateLimit: "key";r=50;t=30`, in requests and whole seconds, rounded up.
    `t` is when the whole quota is there again; of a refused request, when one request is. Then there is `Retry-After`,
    too (RFC 9110, 10.2.3), for the policy that takes the longest. Without policies there are no headers.
    """
    if not standings:
        return {}
    headers = {
        "RateLimit-Policy": ", ".join(
            f'"{name}";q={rate.requests};w={rate.seconds}' for name, (rate, _) in standings.items()
        ),
        "RateLimit": ", ".join(
            f'"{name}";r={standing.remaining};t={_window(standing)}' for name, (_, standing) in standings.items()
        ),
    }
    if refused := [standing for _, standing in standings.values() if not standing.allowed]:
        headers["Retry-After"] = str(max(map(_window, refused)))
    return headers


def _window(standing: Standing) -> int:
    # Retry-After is not to be earlier than the end of `t` (section 6), so a refusal tells the same in both
    seconds = standing.reset_after if standing.allowed else standing.retry_after
    return max(1, math.ceil(round(seconds, 3)))  # not 31 for what floats make of 30
