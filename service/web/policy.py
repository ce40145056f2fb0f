"""What a browser may do with a page: nothing of others, nothing inline, no frame around it, no copy kept."""

from starlette.datastructures import MutableHeaders

REPORTS = "/csp-reports"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        f"report-uri {REPORTS}",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def secure(headers: MutableHeaders) -> None:
    """Add to an answer's headers what every page has; what it says itself stays."""
    for name, value in (HEADERS | {"Cache-Control": "no-store"}).items():
        headers.setdefault(name, value)
