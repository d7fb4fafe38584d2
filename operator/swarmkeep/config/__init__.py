"""Settings: small dataclasses with unit and default beside each field."""

from swarmkeep.config.load import load_config, read_config
from swarmkeep.config.settings import Address, Config

__all__ = ["Address", "Config", "load_config", "read_config"]
