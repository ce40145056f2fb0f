"""The pages: what the API can do, for people with a browser. `PAGES` are their routers, which `service.app` mounts.

They call the API's own functions, so that there is one rule for each thing: a page reads a form, calls the route that
programs call, and shows what came back. Every action is a form that works without scripts; scripts make it quick.

A page is a route in a router with ``route_class=PageRoute``, a template in ``templates/``, and texts in ``texts/``:

    @router.get("/jobs")
    async def jobs(request: Request, visit: Annotated[Visit, signed_in("read", "jobs")], parts: Parts) -> Response:
        return render(request, "jobs.html.j2", jobs=...)
"""

from service.web import files, home, reports, sign_in
from service.web.label import ROUTERS as LABEL
from service.web.manage import ROUTERS as MANAGE

PAGES = (*LABEL, *MANAGE, home.router, sign_in.router, files.router, reports.router)
