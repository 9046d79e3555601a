-- wrk script: pages of random accounts' logs. Environment: TOKEN, ACCOUNTS_FIRST, ACCOUNTS, SEED, QUERY ("limit=50").

local requests_made = 8192

function init()
  math.randomseed(tonumber(os.getenv("SEED") or "1"))
  local headers = { ["Authorization"] = "Bearer " .. os.getenv("TOKEN") }
  local first = tonumber(os.getenv("ACCOUNTS_FIRST") or "1")
  local accounts = tonumber(os.getenv("ACCOUNTS") or "1")
  local query = os.getenv("QUERY") or "limit=50"
  requests = {}
  for i = 1, requests_made do
    requests[i] = wrk.format("GET", "/transaction-logs/" .. (first + math.random(0, accounts - 1)) .. "?" .. query, headers)
  end
  next_request = 0
end

function request()
  next_request = next_request % requests_made + 1
  return requests[next_request]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p95_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"not_200":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    latency.max, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
