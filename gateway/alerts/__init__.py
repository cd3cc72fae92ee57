"""Alerts of budgets and of upstreams: sent once each, off the path of requests."""

from gateway.alerts.budget_monitor import BudgetMonitor
from gateway.alerts.outage_monitor import OutageMonitor
from gateway.alerts.webhook_delivery import WebhookDelivery

__all__ = ["BudgetMonitor", "OutageMonitor", "WebhookDelivery"]
