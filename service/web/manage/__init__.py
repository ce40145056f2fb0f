"""Where those who run projects look and decide: projects, items, jobs, data sets, models, constitutions, a search."""

from service.web.manage import certificates, constitutions, datasets, editor, items, models, search
from service.web.manage.job import jobs, submitting
from service.web.manage.project import figures, making, projects, routing, uncertain

ROUTERS = (
    making.router,  # before projects: /projects/new is no project
    projects.router,
    figures.router,
    routing.router,
    items.router,
    uncertain.router,
    search.router,
    submitting.router,  # before jobs: /jobs/new is none
    jobs.router,
    datasets.router,
    certificates.router,
    models.router,
    editor.router,  # before constitutions: /constitutions/new is none
    constitutions.router,
)
