"""The auditor: compares what must agree, repairs what can be repaired, names the rest."""

from jobs.audit.check import EVERYTHING, AuditCheck, Finding
from jobs.audit.checks import CHECKS
from jobs.audit.look import Audited, audit, findings, findings_of

__all__ = ["CHECKS", "EVERYTHING", "AuditCheck", "Audited", "Finding", "audit", "findings", "findings_of"]
