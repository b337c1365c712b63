"""fastrcaps-dse: multi-objective design-space exploration of Capsule Networks."""

__version__ = "0.1.0"
