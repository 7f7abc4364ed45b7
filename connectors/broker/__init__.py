"""MQTT as kinds and services share it: where a broker is, who we are to it, one connection."""
