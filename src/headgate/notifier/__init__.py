"""The Notifier: takes alerts to people through the channels they have."""
