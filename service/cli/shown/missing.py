"""Which of a service's engines can't be used now, told to whoever starts it: requests would be the first to hear it."""

from threading import Thread

from base.errors import InputError
from critic.engines import expect, parse_spec
from service.cli.shown.voice import say
from service.settings import Settings


def tell_missing(settings: Settings) -> list[Thread]:
    """Look whether the engines' models and servers are there, beside what goes on, and say which are not, and why.

    Everything else is served all the same, and an engine is tried again whenever it is asked for. Returns the threads
    that look.
    """
    looking = []
    for name, engine in settings.engines.items():
        looking.append(Thread(target=_tell, args=(name, engine.spec), name=f"look for {name}", daemon=True))
        looking[-1].start()
    return looking


def _tell(name: str, spec: str) -> None:
    try:
        expect(parse_spec(spec))
    except InputError as error:
        again = "Requests that name it are refused until it can be; everything else is served."
        say(f"the engine {name} can't be used now: {error}\n  {again}", err=True)
