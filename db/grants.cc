#include "db/grants.h"

#include "core/concat.h"

namespace txn {
namespace {

// Column by column where a table has some that the service must not touch. FOR NO KEY UPDATE asks for UPDATE on any
// column. Quoting is the server's: %1$I is the role.
constexpr const char* kGrants =
    "SELECT format('"
    "REVOKE ALL ON accounts, transaction_logs, transfer_limits, idempotency_keys, schema_migrations FROM %1$I;"
    "REVOKE ALL ON transaction_id_blocks FROM %1$I;"
    "GRANT SELECT ON accounts, transaction_logs, transfer_limits, schema_migrations TO %1$I;"
    "GRANT UPDATE (balance, log_seq, usage_day, usage_amount, usage_count, pin_failures, pin_locked_until) "
    "ON accounts TO %1$I;"
    "GRANT INSERT ON transaction_logs TO %1$I;"
    "GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO %1$I;"
    "GRANT USAGE ON transaction_id_blocks TO %1$I', $1::text)";

// The tables' schema, when the role cannot look into it yet: whoever could not grant it may not even ask to.
constexpr const char* kSchemaGrant =
    "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, $1::text) FROM pg_namespace "
    "WHERE oid = (SELECT relnamespace FROM pg_class WHERE oid = 'accounts'::regclass) "
    "AND NOT has_schema_privilege($1::text, oid, 'USAGE')";

// Owners of what is granted that the role is, or can act as: directly, as a member, as a superuser.
constexpr const char* kOwners =
    "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid = ANY "
    "('{accounts,transaction_logs,transfer_limits,idempotency_keys,schema_migrations,transaction_id_blocks}'"
    "::regclass[]) AND pg_has_role($1::text, relowner, 'MEMBER')";

}  // namespace

Result<void> grant_service_privileges(Session& session, const std::string& role) {
  const auto exists = session.exec("SELECT 1 FROM pg_roles WHERE rolname = $1", {role});
  if (!exists) return std::unexpected(exists.error());
  if (exists->size() == 0)
    return fail(ErrorKind::kInvalidArgument, "there is no role \"" + role + "\"; CREATE ROLE makes it");
  const auto self = session.exec("SELECT current_user = $1", {role});
  if (!self) return std::unexpected(self.error());
  const bool is_self = self->boolean(0, 0);
  if (auto sound = self->check(); !sound) return sound;
  if (is_self)
    return fail(ErrorKind::kInvalidArgument,
                "the role that owns the tables cannot be kept from changing them; migrate as another");
  const auto owners = session.exec(kOwners, {role});
  if (!owners) return std::unexpected(owners.error());
  if (owners->size() > 0)
    return fail(ErrorKind::kInvalidArgument,
                concat("the role \"", role, "\" owns the tables or can act as \"", owners->text(0, 0),
                       "\", who does: nothing can be kept from it; the service needs another"));
  const auto schema = session.exec(kSchemaGrant, {role});
  if (!schema) return std::unexpected(schema.error());
  if (schema->size() > 0) {
    if (auto granted = session.run_script(std::string(schema->text(0, 0))); !granted) return granted;
  }
  const auto script = session.exec(kGrants, {role});
  if (!script) return std::unexpected(script.error());
  const std::string grants(script->text(0, 0));
  if (auto sound = script->check(); !sound) return sound;
  return session.run_script(grants);
}

}  // namespace txn
