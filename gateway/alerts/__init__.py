"""Alerts at the thresholds of budgets: sent once each, off the path of requests."""

from gateway.alerts.budget_monitor import BudgetMonitor
from gateway.alerts.webhook_delivery import WebhookDelivery

__all__ = ["BudgetMonitor", "WebhookDelivery"]
