-- wrk script: money movements with a bearer token on random accounts, or pages of their logs.
--
-- Environment: TOKEN, WORKLOAD (deposits, mixed, pages with QUERY, or livez: no money at all), ACCOUNTS_FIRST, ACCOUNTS (how many), SEED.
-- Requests are made once, at start: what is measured is the service and not Lua's string handling.

local requests_made = 8192

local function order(workload, first, accounts)
  local account = first + math.random(0, accounts - 1)
  local amount = string.format("%d.%02d", math.random(1, 99), math.random(0, 99))
  local kind = 1
  if workload == "mixed" then kind = math.random(1, 3) end
  if kind == 1 then
    return "/api/v1/deposits", string.format('{"account_number":%d,"amount":%s,"description":"bench"}', account, amount)
  elseif kind == 2 then
    return "/api/v1/withdrawals",
      string.format('{"account_number":%d,"amount":%s,"description":"bench"}', account, amount)
  end
  local payee = account
  while payee == account do payee = first + math.random(0, accounts - 1) end
  return "/api/v1/transfers",
    string.format('{"from_account":%d,"to_account":%d,"amount":%s,"description":"bench"}', account, payee, amount)
end

function init()
  math.randomseed(tonumber(os.getenv("SEED") or "1"))
  local headers = {
    ["Authorization"] = "Bearer " .. os.getenv("TOKEN"),
    ["Content-Type"] = "application/json",
  }
  local workload = os.getenv("WORKLOAD") or "deposits"
  local first = tonumber(os.getenv("ACCOUNTS_FIRST") or "1")
  local accounts = tonumber(os.getenv("ACCOUNTS") or "100000")
  requests = {}
  for i = 1, requests_made do
    if workload == "livez" then
      requests[i] = wrk.format("GET", "/livez")
    elseif workload == "pages" then
      local page = "/transaction-logs/" .. (first + math.random(0, accounts - 1)) .. "?" .. os.getenv("QUERY")
      requests[i] = wrk.format("GET", page, headers)
    else
      local path, body = order(workload, first, accounts)
      requests[i] = wrk.format("POST", path, headers, body)
    end
  end
  next_request = 0
end

function request()
  next_request = next_request % requests_made + 1
  return requests[next_request]
end

-- One line of JSON for bench/compare/compare.py.
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p95_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"not_200":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    latency.max, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
