from .detector import Detector as Detector
from .errors import DiffidentError as DiffidentError
from .guard import Guard as Guard
from .learning import train as train
from .learning import training as training
from .model import Model as Model
from .pipelines.recording import record as record
from .recipes import Reading as Reading
from .recipes import Recipe as Recipe
from .release import Release as Release
from .requests import Request as Request
from .scorer import Scorer as Scorer
from .scores import Scores as Scores
from .settings import Training as Training
from .store import load as load
from .store import save as save
from .teaching import train_head as train_head
from .verdict import Policy as Policy
from .verdict import Verdict as Verdict
from .verdict import Verdicts as Verdicts

__version__: str
__all__: list[str]
