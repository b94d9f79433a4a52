"""What an orchestrator imports: the plugin, ``permit()`` for its workflows, the errors."""
