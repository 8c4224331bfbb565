"""The auditor: compares what must agree, repairs what can be repaired, names the rest."""

from cutout.audit.audit_check import EVERYTHING, AuditCheck, Finding
from cutout.audit.audit_run import Audited, audit, findings, findings_of
from cutout.audit.checks import CHECKS

__all__ = ["CHECKS", "EVERYTHING", "AuditCheck", "Audited", "Finding", "audit", "findings", "findings_of"]
