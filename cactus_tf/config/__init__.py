"""Settings: what they mean, their defaults, how a command line becomes a plan, and what each artifact depends on.

Members import `option` from here; the stages of a run import modules such as `plan` and `schema`.
"""

from cactus_tf.config.schema import option

__all__ = ["option"]
