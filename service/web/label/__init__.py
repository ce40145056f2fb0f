"""Where people label: the queue of their projects, a page for each kind of task, and what they have done."""

from service.web.label import queue

ROUTERS = (queue.router,)
