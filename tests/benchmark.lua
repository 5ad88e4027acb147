-- The load for benchmark.py: sends each signed delivery of a file once, as it stands.

local deliveries = {}
local sent = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local length = file:read(8)

  while length do
    deliveries[#deliveries + 1] = file:read(tonumber(length))
    length = file:read(8)
  end

  file:close()
end

function request()
  sent = sent + 1

  -- A delivery that is sent twice would be cheaper: a path that is not found shows as
  -- an error.
  return deliveries[sent] or wrk.format("GET", "/no-delivery-left")
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    '{"rate": %f, "median": %f, "p99": %f, "errors": %d}',
    summary.requests / summary.duration * 1e6,
    latency:percentile(50),
    latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
