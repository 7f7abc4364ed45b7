"""Kafka: the partitions of a topic, vended to short jobs."""
