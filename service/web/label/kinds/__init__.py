"""One file a kind of task, each with its page. `PAGES` has them by kind."""

from critic.feedback import Kind
from service.web.label.kinds.base import Asked as Asked
from service.web.label.kinds.base import KindPage as KindPage
from service.web.label.kinds.comparison import ComparisonPage
from service.web.label.kinds.correction import CorrectionPage
from service.web.label.kinds.critique import CritiquePage
from service.web.label.kinds.demonstration import DemonstrationPage
from service.web.label.kinds.ranking import RankingPage
from service.web.label.kinds.rating import RatingPage
from service.web.label.kinds.thumbs import ThumbsPage

_ALL: tuple[KindPage, ...] = (
    ComparisonPage(),
    RankingPage(),
    RatingPage(),
    ThumbsPage(),
    CritiquePage(),
    DemonstrationPage(),
    CorrectionPage(),
)
PAGES: dict[Kind, KindPage] = {page.kind: page for page in _ALL}
