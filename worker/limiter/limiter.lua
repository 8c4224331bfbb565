-- The limit of one account, shared by all callers: calls per second, and calls open at once, which it learns.
--
-- KEYS  1 state (hash)   2 open calls by the end of their lease
--       3 waiting callers in order   4 waiting callers by the time at which they last asked
--       5 permitted and sent calls by the time at which they stop to count in the window
-- ARGV  1 command   2 most calls open   3 most calls in a window, 0 without a ceiling
--       4 length of the window in microseconds
--       5 calls sent lately: CALLER:MICROSECONDS from the request for permission to the first byte
--       from 6 on, the command's own arguments
--
-- Times are in microseconds by this server's clock. `level` is the number of calls that may be open. It doubles
-- every CLIMB_S until the first slow answer. A slow answer halves it and sets a ceiling a little below the level
-- at that time. The level is back at the ceiling after BACK_S, stays there, and then grows slowly, ever faster.
-- Only time in which a caller waits for the level counts.
--
-- A call counts in the window from its permission until one window after it was sent. So no more than
-- `most_sent` calls are ever on their way to their first byte or sent within the last window.
local CLIMB_S, BACK_S, TRY_S = 3, 4, 75
-- If so many calls take longer than TRY_S, that time: fewer than one call in a hundred may be refused.
local TRY_CALLS = 200
local LONE_FLOW, FLOW_FORGOTTEN = 1000000, 10000000
local RUN, RUN_JOBS, FIRST_PROBE, LONGEST_PROBE = 5, 3, 1000000, 60000000
-- Open calls are renewed every 3 s: after a silence of twice that, leases may have ended.
local SILENCE, REST = 6000000, 4000000
local LEAST_POLL, MOST_POLL, WAITER_FORGOTTEN = 15000, 200000, 1000000
-- The network may delay one call by so much more than a later one.
local GUARD = 5000
-- Time for which a call counts whose sender does not report that it was sent.
local UNSENT = 3000000
local LEAST_WAIT, MOST_WAIT = 1000, 50000
local LEASE, BOUND = 10000000, 250000
local FIELDS = {'base', 'top', 'climbs', 'bound_s', 'bound_until', 'at', 'turn', 'fell_at', 'rest_until',
  'latency', 'prepare', 'flow_at', 'run', 'circuit', 'opened_at', 'probe_at', 'begun', 'slow', 'slow_at',
  'ticket', 'heard', 'rest_for', 'again', 'opens', 'sends'}
-- Fields that hold a time in the past.
local PAST = {'at', 'fell_at', 'flow_at', 'opened_at', 'slow_at', 'heard'}

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local most, most_sent, window = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function load()
  local found = redis.call('HMGET', KEYS[1], unpack(FIELDS))
  if not found[1] then return nil end
  local state = {}
  for i, name in ipairs(FIELDS) do state[name] = tonumber(found[i]) or 0 end
  return state
end

local function save(state)
  local words = {}
  state.opens, state.sends = redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[5])
  for _, name in ipairs(FIELDS) do
    words[#words + 1] = name
    words[#words + 1] = string.format('%.17g', state[name])
  end
  redis.call('HSET', KEYS[1], unpack(words))
end

local function level_of(state)
  local s, level = state.bound_s, 0
  if state.climbs == 1 then level = state.base * 2 ^ (s / CLIMB_S)
  elseif s < BACK_S then level = state.top - (state.top - state.base) * (1 - s / BACK_S) ^ 3
  else
    local try_s = math.max(TRY_S, TRY_CALLS * state.latency / 1000000 / state.top)
    level = state.top * (1 + 0.5 * ((s - BACK_S) / try_s) ^ 8)
  end
  return math.min(level, most)
end

local function rest(state, length)
  if now + length > state.rest_until then state.rest_until, state.rest_for = now + length, length end
end

-- Time between the turns of two calls. The window lets slightly fewer through, so that some calls wait for it.
local function spacing(state)
  local gap = most_sent > 0 and window / most_sent or 0
  local level = level_of(state)
  if level < 1 then gap = math.max(gap, math.max(state.latency, 1000000) / level) end
  return gap
end

local function clamp_scores(key, latest)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. string.format('%.17g', latest), '+inf')) do
    redis.call('ZADD', key, latest, member)
  end
end

-- Limit every time to the furthest that is ever set: another server's clock, or this one, may have been ahead.
local function follow_clock(state)
  if state.heard > now then
    clamp_scores(KEYS[2], now + LEASE)
    clamp_scores(KEYS[4], now)
    clamp_scores(KEYS[5], now + window + GUARD)
  end
  for _, name in ipairs(PAST) do state[name] = math.min(state[name], now) end
  state.bound_until = math.min(state.bound_until, now + BOUND)
  state.rest_until = math.min(state.rest_until, now + state.rest_for)
  state.probe_at = math.min(state.probe_at, now + state.circuit)
  state.again = math.min(state.again, now + window + GUARD)
  local gap = spacing(state)
  if state.turn > now + LEASE + gap then state.turn = now + gap end
end

-- Missing entries were evicted or lost: pause until workers have renewed them, or until they would have ended.
local function miss_what_is_lost(state)
  if redis.call('ZCARD', KEYS[2]) < state.opens then rest(state, REST) end
  if redis.call('ZCARD', KEYS[5]) < state.sends then rest(state, window + GUARD) end
end

-- Note calls whose first byte went out: the time until which they count is known now.
local function note_sent(state)
  for caller, late in string.gmatch(ARGV[5], '(%w+):(%d+)') do
    local score = redis.call('ZSCORE', KEYS[5], caller)
    if score then redis.call('ZADD', KEYS[5], tonumber(score) - UNSENT + late, caller) end
  end
end

-- Advance the state to now, and remove calls and callers that died.
local function advance(state)
  follow_clock(state)
  miss_what_is_lost(state)
  if now - state.heard > SILENCE and redis.call('ZCARD', KEYS[2]) > 0 then rest(state, REST) end
  state.heard = now
  local bound = math.min(now, state.bound_until) - state.at
  if bound > 0 and level_of(state) < most then state.bound_s = state.bound_s + bound / 1000000 end
  state.at = now
  note_sent(state)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now)
  local silent = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - WAITER_FORGOTTEN)
  for _, caller in ipairs(silent) do
    redis.call('ZREM', KEYS[3], caller)
    redis.call('ZREM', KEYS[4], caller)
  end
end

-- A level of 4.3 is 5 calls for 0.3 of each second, and 4 for the rest of it.
local function allowed(state, level)
  if state.circuit > 0 or level < 1 then return 1 end
  local whole = math.floor(level)
  if now % 1000000 < (level - whole) * 1000000 then whole = whole + 1 end
  return whole
end

local function leave(caller)
  redis.call('ZREM', KEYS[3], caller)
  redis.call('ZREM', KEYS[4], caller)
end

local function average(old, new)
  if old == 0 then return new end
  return old + (new - old) / 16
end

local commands = {}

-- restore LEVEL TOP CLIMBS REST: begin with what was learned, unless there is a state; no call for REST.
function commands.restore()
  if load() then return 0 end
  local state = {}
  for _, name in ipairs(FIELDS) do state[name] = 0 end
  state.base, state.top, state.climbs = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
  state.at, state.heard = now, now
  rest(state, tonumber(ARGV[9]))
  save(state)
  return 1
end

-- met: this server did not have the script, so it is another one or was restarted: its state may be old.
function commands.met()
  local state = load()
  if not state then return 0 end
  advance(state)
  rest(state, REST)
  save(state)
  return 1
end

-- take CALLER PATIENCE LEASE PREPARED: {1, wait, now} a slot, its turn is after `wait`; {0, wait} ask again after
-- `wait`; {-1, wait} none within PATIENCE; {-2} there is no state.
function commands.take()
  local state = load()
  if not state then return {-2} end
  local caller, lease = ARGV[6], tonumber(ARGV[8])
  local patience = math.min(tonumber(ARGV[7]), LEASE)
  advance(state)
  local level = level_of(state)
  local shut = state.rest_until - now
  if state.circuit > 0 then shut = math.max(shut, state.probe_at - now) end
  local rank = redis.call('ZRANK', KEYS[3], caller) or redis.call('ZCARD', KEYS[3])
  local free = allowed(state, level) - redis.call('ZCARD', KEYS[2])
  local wait = math.max(state.turn, state.again, now) - now
  local answer
  if shut <= 0 and rank < free then
    if wait > patience then
      leave(caller)
      answer = {-1, wait}
    else
      leave(caller)
      state.turn = now + wait + spacing(state)
      state.begun = state.begun + 1
      if tonumber(ARGV[9]) >= 0 then state.prepare = average(state.prepare, tonumber(ARGV[9])) end
      redis.call('ZADD', KEYS[2], now + wait + lease, caller)
      answer = {1, wait, now}
    end
  else
    if shut <= 0 and free <= 0 then state.bound_until = now + BOUND end
    local poll = math.min(LEAST_POLL * (1 + math.max(rank - math.max(free, 0), 0)), MOST_POLL)
    if shut > 0 then poll = math.max(poll, math.min(shut, MOST_POLL)) end
    if math.max(poll, shut) > patience then
      leave(caller)
      answer = {-1, math.max(shut, poll, state.latency * (rank + 1) / math.max(level, 1))}
    else
      if not redis.call('ZSCORE', KEYS[3], caller) then
        state.ticket = state.ticket + 1
        redis.call('ZADD', KEYS[3], state.ticket, caller)
      end
      redis.call('ZADD', KEYS[4], now, caller)
      answer = {0, poll}
    end
  end
  save(state)
  for i, value in ipairs(answer) do answer[i] = math.floor(value) end
  return answer
end

-- send CALLER LEASE: {1, 0} the call may be sent now; {0, wait} ask again after `wait`; {-2} there is no state.
function commands.send()
  local state = load()
  if not state then return {-2} end
  local caller = ARGV[6]
  advance(state)
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[7]), caller)
  redis.call('ZREM', KEYS[5], caller)
  local answer
  if state.rest_until > now then
    answer = {0, math.ceil(state.rest_until - now)}
  elseif redis.call('ZCARD', KEYS[5]) < most_sent then
    redis.call('ZADD', KEYS[5], now + window + GUARD + UNSENT, caller)
    answer = {1, 0}
  else
    -- Each caller that waits asks again for another free place, and soon: another call may have left one.
    local after = math.max(state.again, now)
    local room = redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. string.format('%.17g', after), '+inf',
      'WITHSCORES', 'LIMIT', 0, 1)
    state.again = math.min(tonumber(room[2]) or after, after + MOST_WAIT)
    answer = {0, math.ceil(math.max(state.again - now, LEAST_WAIT))}
  end
  save(state)
  return answer
end

-- sent: only note the calls that were sent.
function commands.sent()
  local state = load()
  if not state then return 0 end
  advance(state)
  save(state)
  return 1
end

local function fall(state, begun)
  -- A call that was under way at the last fall says nothing new.
  if begun < state.fell_at then return end
  local level = level_of(state)
  local share = 0.97
  if state.climbs == 0 and level < 0.9 * state.top then share = 0.9 end
  state.top = math.max(share * level, 0.1)
  state.base, state.bound_s, state.climbs = math.max(level / 2, 0.05), 0, 0
  state.fell_at, state.bound_until = now, 0
  state.slow, state.slow_at = state.slow + 1, now
end

local function fail(state, begun, job)
  if state.circuit > 0 then
    if begun >= state.opened_at then
      state.circuit = math.min(state.circuit * 2, LONGEST_PROBE)
      state.opened_at, state.probe_at = now, now + state.circuit
    end
    return
  end
  state.run = state.run + 1
  redis.call('HSET', KEYS[1], 'job' .. (state.run % RUN), job)
  if state.run < RUN then return end
  local jobs, distinct = {}, 0
  for i = 0, RUN - 1 do
    local one = redis.call('HGET', KEYS[1], 'job' .. i)
    if one and not jobs[one] then jobs[one], distinct = true, distinct + 1 end
  end
  if distinct >= RUN_JOBS then
    state.circuit, state.opened_at, state.probe_at = FIRST_PROBE, now, now + FIRST_PROBE
  end
end

-- give_back CALLER TAKEN_AT FEEDBACK FIGURE JOB: the call with the slot taken at TAKEN_AT has ended: `ok` (FIGURE:
-- its duration), `slow` or `flow` (FIGURE: the pause asked for), `failed` or `unused`. 1 while the circuit is open.
function commands.give_back()
  local state = load()
  if state then advance(state) end
  redis.call('ZREM', KEYS[2], ARGV[6])
  if not state then return 0 end
  local begun, feedback, figure = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])
  if feedback == 'ok' then
    if figure > 0 then state.latency = average(state.latency, figure) end
    state.run, state.circuit = 0, 0
  elseif feedback == 'slow' then
    fall(state, begun)
  elseif feedback == 'flow' then
    -- Other customers share this quota: a refusal that passes within a second is not about us.
    local age = now - state.flow_at
    if age > FLOW_FORGOTTEN then state.flow_at = now
    elseif begun > state.flow_at + LONE_FLOW then fall(state, begun) end
  elseif feedback == 'failed' then
    fail(state, begun, ARGV[10])
  end
  if (feedback == 'slow' or feedback == 'flow') and figure > 0 then rest(state, figure) end
  save(state)
  return state.circuit > 0 and 1 or 0
end

-- leave CALLER: the caller does not wait any more.
function commands.leave()
  leave(ARGV[6])
  return 0
end

-- renew LEASE CALLER...: these calls are still open, even if they are missing here.
function commands.renew()
  local state = load()
  if state then advance(state) end
  for i = 7, #ARGV do redis.call('ZADD', KEYS[2], now + tonumber(ARGV[6]), ARGV[i]) end
  if state then save(state) end
  return 0
end

-- read: the figures, for people and for the dispatcher; empty without a state.
function commands.read()
  local state = load()
  if not state then return {} end
  follow_clock(state)
  local level = level_of(state)
  local figures = {level, state.top, state.climbs, redis.call('ZCOUNT', KEYS[2], now, '+inf'),
    redis.call('ZCARD', KEYS[3]), state.latency, state.prepare, state.begun, state.slow,
    math.max(state.rest_until - now, 0), state.circuit > 0 and math.max(state.probe_at - now, 1) or 0,
    state.slow_at > 0 and now - state.slow_at or -1}
  for i, figure in ipairs(figures) do figures[i] = string.format('%.17g', figure) end
  return figures
end

return commands[ARGV[1]]()
