"""The auditor: compares rows that must agree, repairs those it can, and reports the others."""

from cutout.audit.audit_check import EVERYTHING, AuditCheck, Finding
from cutout.audit.audit_run import CHECKS, Audited, audit, findings, findings_of

__all__ = ["CHECKS", "EVERYTHING", "AuditCheck", "Audited", "Finding", "audit", "findings", "findings_of"]
