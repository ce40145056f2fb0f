"""Where people label: the queue of their projects, a page for each kind of task, and what they have done."""

from service.web.label import history, queue, task

ROUTERS = (queue.router, history.router, task.router)
