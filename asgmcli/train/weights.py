"""The weight files of a run: their names, and by what they say that they are this project's."""

from __future__ import annotations

# The network that a recognition run is judged by, and the other one of its two.
MODEL_WEIGHTS = "model.safetensors"
OTHER_WEIGHTS = {"student": "teacher.safetensors", "teacher": "student.safetensors"}
# A localizer, trained or as its pretext leaves it.
LOCALIZER_WEIGHTS = "localizer.safetensors"
# The two encoders of a pretext run, where later ones start.
VIDEO_WEIGHTS = "video.safetensors"
AUDIO_WEIGHTS = "audio.safetensors"
# The small networks of a pretext run that see a frame and hear a second.
BACKBONE_WEIGHTS = "backbones.safetensors"
# The encoder of an event_representation run, and its `format`.
ENCODER_WEIGHTS = "encoder.safetensors"
ENCODER_FORMAT = "asgm-event-encoder"
# The folder of that run's features.
ENCODED = "features"
# What names events in an event_localization run, and its `format`.
EVENT_WEIGHTS = "events.safetensors"
EVENT_FORMAT = "asgm-events"
# `format` in the metadata of MODEL_WEIGHTS.
MODEL_FORMAT = "asgm-recognition"
# What parses videos in a parsing run, and its `format`.
PARSING_WEIGHTS = "parser.safetensors"
PARSING_FORMAT = "asgm-parser"
# The transformer of a grounding run, and its `format`.
GROUNDING_WEIGHTS = "grounding.safetensors"
GROUNDING_FORMAT = "asgm-grounding"
