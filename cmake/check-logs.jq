# What is wrong with a line of the log, as `file:line: what: the line`; nothing when nothing is. For
# `jq --raw-input --raw-output --null-input`, so that each line has to be an object of its own. (docs/observability.md)
# $pins: an alternation of PINs that must not be in any text, or "" when there are none.

def is_text: type == "string" and length > 0;
def is_whole: type == "number" and . == floor;
# A member that does not apply is not there.
def absent_or(is_good): . == null or is_good;

def fault:
  if type != "object" then "not a JSON object"
    elif (.timestamp | is_text and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$")) | not then "timestamp"
    elif .service != "transactions-service" then "service"
    elif (.level | IN("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")) | not then "level"
    elif (.logger | is_text) and (.message | is_text) and (.module | is_text) and (.function | is_text) | not then "logger, message, module or function"
    elif (.line | is_whole and . > 0) | not then "line"
    elif .request_id | absent_or(is_text and length <= 128) | not then "request_id"
    elif .trace_id | absent_or(is_text and test("^[0-9a-f]{32}$")) | not then "trace_id"
    elif (.transaction_id | absent_or(is_whole)) and (.account_number | absent_or(is_whole)) | not then "transaction_id or account_number"
    elif .duration_ms | absent_or(type == "number" and . >= 0) | not then "duration_ms"
    elif .exception | absent_or(is_text) | not then "exception"
    elif .logger == "audit" and ((.outcome | IN("success", "refused", "failed", "unknown")) and (.status | is_whole)
      and (.request_id | is_text) and (.trace_id | is_text) and (.client_address | is_text) and (.duration_ms != null)
      and (.replayed | type == "boolean") | not) then "a member of the audit"
    elif any(.[]; type == "object" or type == "array") then "a value that is no scalar"
    elif keys_unsorted | join(" ") | test("[^a-z_ ]|pin|token|password|secret|authorization|cookie") then "a member named unlike the others, or like a secret"
    # Numbers of a client's or of chance are not PINs; nor is what stands in a longer row of digits.
    elif $pins != "" and ([del(.timestamp, .request_id, .trace_id, .commit)[] | strings] | join(" ") | test("(^|[^0-9])(" + $pins + ")([^0-9]|$)")) then "a PIN"
    else null end;

inputs
| . as $text
| (try fromjson catch null | fault)
| select(. != null)
| "\(input_filename):\(input_line_number): \(.): \($text[:500])"
