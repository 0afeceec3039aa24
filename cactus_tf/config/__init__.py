"""Settings: what they mean, their defaults, how a command line becomes a plan, and what each artifact depends on."""

from cactus_tf.config.schema import option

__all__ = ["option"]
