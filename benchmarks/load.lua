-- wrk asks for every target of a file once, and stops when so many answers have come; -- FILE COUNT.
local ffi = require "ffi"
ffi.cdef "typedef struct { long s, us; } moment; int gettimeofday(moment *now, void *zone);"
local targets, at, answered, wanted, begun = {}, 0, 0, 0, 0

local function now_s()
    local now = ffi.new("moment")
    ffi.C.gettimeofday(now, nil)
    return tonumber(now.s) + tonumber(now.us) / 1e6
end

function init(arguments)
    for line in io.lines(arguments[1]) do
        targets[#targets + 1] = "GET " .. line .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    end
    wanted = tonumber(arguments[2])
end

function request()
    if at == 1 then begun = now_s() end -- the first call is wrk's own, to look at what comes
    at = at + 1
    return targets[at] or targets[#targets]
end

function response(status)
    answered = answered + 1
    if answered == wanted then
        wrk.thread:stop()
        io.write("took " .. now_s() - begun .. "\n")
        io.flush()
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("done %d %d %d %d %d\n", summary.requests, summary.bytes,
        errors.status + errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
