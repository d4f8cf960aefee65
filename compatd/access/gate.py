"""The one place where rules are applied: between a decoded request and its handler."""

import logging
import time
from typing import Any

from compatd.access.audit import Audit
from compatd.access.caller import Caller, of_transport
from compatd.access.facts import EngineFacts
from compatd.access.owners import CALLER, Owners
from compatd.access.policy import Policy, Refused, Request, needs_host_network_rule
from compatd.access.views import Views
from compatd.config.access import OWN, Rule, parse
from compatd.engine.errors import Forbidden, NotFound

log = logging.getLogger(__name__)

_SECRET = ("buildargs", "auth", "authConfig")
"""Parameters of queries that may hold passwords: the audit log has no values of theirs."""


class _Ticket:
    """A request on its way: for the lines about it."""

    __slots__ = ("caller", "number", "since")

    def __init__(self, number: int, caller: Caller) -> None:
        self.number, self.caller = number, caller
        self.since = time.monotonic()


class Gate:
    """`compatd.http.gatekeeping.Gate` for an engine with its `access` and `audit_log` options."""

    def __init__(self, engine: Any) -> None:
        """Raises OSError when the audit log cannot be opened, ValueError for rules that cannot be read."""
        self._config = engine.config
        self._owners = Owners(engine.store.meta)
        self._facts = EngineFacts(engine, self._owners)
        engine.events.watchers.append(self._heard)
        self._audit = Audit(self._config.audit_log)
        self._number = 0
        self._rules: tuple[Rule, ...] = ()
        self._set_rules()

    def _set_rules(self) -> None:
        self._rules = parse(self._config.access)
        self._owners.use(frozenset().union(*(rule.limits for rule in self._rules)))
        for rule in self._rules:
            if needs_host_network_rule(rule.limits):
                log.warning(
                    "access rule %d leaves the host's network open: whatever listens on the loopback device "
                    "can be reached; add no-host-namespaces to close it",
                    rule.number,
                )

    def reload(self) -> None:
        """The configuration has changed, or the log was moved away."""
        self._set_rules()
        try:
            self._audit.reopen()
        except OSError as error:
            log.error("audit log: %s", error)

    def close(self) -> None:
        """The daemon ends."""
        self._audit.close()

    def _heard(self, kind: str, action: str, actor: str) -> None:
        self._owners.heard(kind, action, actor)

    def rule(self, caller: Caller) -> Rule | None:
        """The first rule that is about the caller."""
        return next((rule for rule in self._rules if caller.matches(rule)), None)

    # what the server calls

    def arrived(self, transport: Any) -> Caller | None:
        """The caller; None when nobody wants to know."""
        if self._rules or self._config.audit_log or log.isEnabledFor(logging.DEBUG):
            return of_transport(transport)
        return None

    def asked(self, caller: Caller | None, operation: str, head: Any) -> _Ticket | None:
        """Tells the log at debug level."""
        if caller is None:
            return None
        self._number += 1
        if log.isEnabledFor(logging.DEBUG):
            fields = {"method": head.method, "request-url": head.path, **caller.fields()}
            log.debug("handling %s request", head.method, extra={"fields": fields})
        return _Ticket(self._number, caller)

    def check(self, ticket: _Ticket | None, call: Any) -> None:
        """Raises Forbidden, or NotFound for what the caller cannot see."""
        if ticket is None:
            return
        caller = ticket.caller
        rule = self.rule(caller)
        identity = caller.identity(rule)
        CALLER.set(identity)
        refused: Refused | None = None
        call.access = (rule.limits if rule is not None else frozenset(), identity)
        if rule is not None and rule.limits:
            policy = Policy(rule.limits, identity, self._facts)
            request = Request(call.operation.id, call.path, call.query, call.body)
            try:
                policy.check(request)
            except Refused as error:
                refused = error
            if OWN in rule.limits:
                call.view = Views(policy, self._owners.of).of(call.operation.id, call.query)
        self._note(ticket, call, rule, refused)
        if refused is None:
            return
        if refused.status == 404:
            raise NotFound(refused.text)
        number = rule.number if rule is not None else 0
        raise Forbidden(f"authorization denied by access rule {number}: {refused.text}")

    def _note(self, ticket: _Ticket, call: Any, rule: Rule | None, refused: Refused | None) -> None:
        if not self._config.audit_log:
            return
        who = ticket.caller.fields()
        fields: dict[str, Any] = {"number": ticket.number, **who, "operation": call.operation.id}
        fields |= call.path
        query = {key: value for key, value in call.query.items() if value}
        fields["query"] = {key: "…" if key in _SECRET else value for key, value in query.items()}
        if call.operation.id == "ContainerCreate":
            fields["image"] = (call.body or {}).get("Image", "")
        fields["api"] = str(call.version)
        fields["rule"] = rule.number if rule is not None else None
        fields["allowed"] = refused is None
        if refused is not None:
            fields["why"] = refused.text
        self._audit.write("request", fields)

    def answered(self, ticket: _Ticket | None, status: int) -> None:
        """The second line of a request."""
        if ticket is None or not self._config.audit_log:
            return
        seconds = round(time.monotonic() - ticket.since, 6)
        self._audit.write("answer", {"number": ticket.number, "status": status, "seconds": seconds})
