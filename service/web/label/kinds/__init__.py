"""One file a kind of task, each with its page. `PAGES` has them by kind, found by being there."""

from collections.abc import Iterator

from base.plugins import imported
from critic.feedback import Kind
from service.web.label.kinds.base import Asked as Asked
from service.web.label.kinds.base import KindPage as KindPage


def _pages() -> Iterator[KindPage]:
    for module in imported(__name__, __path__):
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and issubclass(value, KindPage) and value is not KindPage:
                yield value()


PAGES: dict[Kind, KindPage] = {page.kind: page for page in _pages()}
