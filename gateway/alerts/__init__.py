"""Warnings before the wall: each mark of a budget is told once, off the path of requests."""

from gateway.alerts.budget_monitor import BudgetMonitor
from gateway.alerts.webhook_delivery import WebhookDelivery

__all__ = ["BudgetMonitor", "WebhookDelivery"]
