"""Every refusal of the library, drawn as a tree. Each message says what was asked, what is the case, and what to do.

DiffidentError
├─ UnknownName          a statistic, walk, space, modality or recipe that is not registered
├─ InvalidSetting       a setting outside its range
├─ ItemError            one item is bad; a run gives it a row of its own and goes on
│  ├─ UnreadableItem    not an image, truncated, empty
│  └─ TooLarge          more pixels than are opened safely (decompression bombs)
├─ NoItems              nothing to work on: an empty folder, or nothing readable in it
├─ NotLabelled          a folder whose names do not tell the good from the strange
├─ UnknownKind          items of a kind that the model does not know, or of none where it tells kinds apart
├─ TooFewItems          too few to train and calibrate on
├─ WrongShape           tensors that do not fit together
├─ Unconditional        a condition was given to a denoiser that takes none
├─ NoGradient           a derivative was asked of a model whose answers carry none
├─ NoActivations        activations were asked of a denoiser that has no network, or not that stream
├─ AlreadyRecording     a pipeline is recorded already; two recordings would each take the other for the scheduler
├─ NotPerElement        a map was asked of numbers that have none
├─ CalibrationError
│  ├─ NotCalibrated     a decision was asked before known-good items were seen
│  ├─ TooFewReferences  the level asked cannot be reached with this many references
│  ├─ NotFinite         a reference with a score that is not a number
│  ├─ ForeignScores     scores of another recipe or model
│  └─ SeenInTraining    references on which the model was trained
├─ ModelError
│  ├─ NotAModel         a folder that holds no model
│  ├─ DamagedModel      a file is missing, cut or altered
│  ├─ NewerFormat       written by a later version of Diffident
│  └─ DifferentAnswers  this machine or version does not answer as the one that made it
├─ TrainingError
│  ├─ ForeignCheckpoint a checkpoint of another run, or none that can be read
│  └─ Diverged          the loss is no longer a number
├─ MissingPackage       something that only an extra installs
├─ OutputError          a result could not be written: unwritable, full disk, in the way
└─ ContractBroken       a statistic, walk, space or modality breaks a promise (diffident.testing)
"""

from __future__ import annotations


class DiffidentError(Exception):
    """The root of all refusals: ``except DiffidentError`` catches every one of them, and nothing else."""


class UnknownName(DiffidentError):
    """A name is not registered; the message suggests the nearest one that is."""


class InvalidSetting(DiffidentError):
    """A setting lies outside the range in which it means something."""


class ItemError(DiffidentError):
    """One item is bad. A run reports it in a row of its own and goes on."""


class UnreadableItem(ItemError):
    """The item is not an image, is truncated or is empty."""


class TooLarge(ItemError):
    """The item has more pixels than are opened safely."""


class NoItems(DiffidentError):
    """There is nothing to work on."""


class NotLabelled(DiffidentError):
    """The folder does not say by its subfolders which items are good and which are strange."""


class UnknownKind(DiffidentError):
    """Items are of a kind that the model does not know, or of none where it tells kinds apart; the message names those it knows."""


class TooFewItems(DiffidentError):
    """There are items, but too few to train and to calibrate on."""


class WrongShape(DiffidentError):
    """Tensors do not fit together; the message shows both shapes."""


class Unconditional(DiffidentError):
    """A condition was given to a denoiser that takes none, or not that one."""


class NoGradient(DiffidentError):
    """A derivative was asked of a model whose answers carry none."""


class NoActivations(DiffidentError):
    """Inner activations were asked of a denoiser that has no network, or of a network that has no such stream."""


class AlreadyRecording(DiffidentError):
    """A second recording of the same scheduler was asked while the first goes on."""


class NotPerElement(DiffidentError):
    """A map was asked of a statistic or recipe that gives one number per item."""


class CalibrationError(DiffidentError):
    """The known-good items cannot support what was asked."""


class NotCalibrated(CalibrationError):
    """A decision was asked of a detector that has seen no known-good items."""


class TooFewReferences(CalibrationError):
    """The level asked cannot be reached with this many references; the message gives the number needed."""


class NotFinite(CalibrationError):
    """A known-good item has a score that is not a finite number."""


class ForeignScores(CalibrationError):
    """Scores of another recipe or another model were compared with a calibration."""


class SeenInTraining(CalibrationError):
    """Items were offered as references on which the model was trained."""


class ModelError(DiffidentError):
    """A saved model or detector cannot be used."""


class NotAModel(ModelError):
    """The path is not a folder that Diffident has written."""


class DamagedModel(ModelError):
    """A file of the folder is missing, cut short or altered."""


class NewerFormat(ModelError):
    """The folder was written by a later version of Diffident."""


class DifferentAnswers(ModelError):
    """On this machine, in this precision, a model does not answer as it did where it was made; the message gives the numbers."""


class TrainingError(DiffidentError):
    """Training cannot begin, or cannot go on."""


class ForeignCheckpoint(TrainingError):
    """The checkpoint found belongs to another run, or cannot be read."""


class Diverged(TrainingError):
    """The loss is no longer a finite number."""


class MissingPackage(DiffidentError, ImportError):
    """A package that only an extra installs is not here; the message names the command."""


class OutputError(DiffidentError):
    """A result could not be written."""


class ContractBroken(DiffidentError):
    """A part breaks a promise that every part of its kind makes."""
