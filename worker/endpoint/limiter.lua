-- One account's limit, shared by all callers: calls per second, and calls open at once, which it learns.
--
-- KEYS  1 state (hash)   2 open calls by the end of their lease
--       3 who waits, in order   4 the same by when they last asked
-- ARGV  1 the command   2 most calls open   3 microseconds between calls, 0 without a ceiling
--       then the command's own, as each says
--
-- Times are microseconds of this server's clock. `level` is how many calls may be open: it doubles every
-- CLIMB_S until the first slow answer. A slow answer halves it and leaves a ceiling a little below where it
-- stood; it is back at that ceiling in BACK_S, waits there, and then tries a little more, ever faster. Only
-- time in which somebody waits for the level counts.
local CLIMB_S, BACK_S, TRY_S = 3, 4, 75
-- Where so many calls take longer than TRY_S, that long: fewer than one in a hundred may be refused.
local TRY_CALLS = 200
local LONE_FLOW, FLOW_FORGOTTEN = 1000000, 10000000
local RUN, RUN_JOBS, FIRST_PROBE, LONGEST_PROBE = 5, 3, 1000000, 60000000
-- Open calls are renewed every 3 s: a silence of twice that may have outlived their leases.
local SILENCE, REST = 6000000, 4000000
local LEAST_LOOK, MOST_LOOK, WAITER_FORGOTTEN = 15000, 200000, 1000000
local FIELDS = {'base', 'top', 'climbs', 'bound_s', 'bound_until', 'at', 'turn', 'fell_at', 'rest_until',
  'latency', 'prepare', 'flow_at', 'run', 'circuit', 'opened_at', 'probe_at', 'begun', 'slow', 'slow_at',
  'ticket', 'heard'}

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local most, gap = tonumber(ARGV[2]), tonumber(ARGV[3])

local function load()
  local found = redis.call('HMGET', KEYS[1], unpack(FIELDS))
  if not found[1] then return nil end
  local state = {}
  for i, name in ipairs(FIELDS) do state[name] = tonumber(found[i]) or 0 end
  return state
end

local function save(state)
  local words = {}
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

-- Let time pass, and forget calls and callers that died.
local function advance(state)
  if now - state.heard > SILENCE and redis.call('ZCARD', KEYS[2]) > 0 then
    state.rest_until = math.max(state.rest_until, now + REST)
  end
  state.heard = now
  local bound = math.min(now, state.bound_until) - state.at
  if bound > 0 and level_of(state) < most then state.bound_s = state.bound_s + bound / 1000000 end
  state.at = math.max(state.at, now)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
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

-- restore LEVEL TOP CLIMBS REST: begin from what was learned, unless there is a state; REST before any call.
function commands.restore()
  if load() then return 0 end
  local state = {}
  for _, name in ipairs(FIELDS) do state[name] = 0 end
  state.base, state.top, state.climbs = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  state.rest_until, state.at, state.heard = now + tonumber(ARGV[7]), now, now
  save(state)
  return 1
end

-- take CALLER PATIENCE LEASE PREPARED: {1, wait, now} go after that; {0, wait} ask again after; {-1, wait} not
-- within PATIENCE; {-2} nothing is known here.
function commands.take()
  local state = load()
  if not state then return {-2} end
  local caller, patience, lease = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
  advance(state)
  local level = level_of(state)
  local shut = state.rest_until - now
  if state.circuit > 0 then shut = math.max(shut, state.probe_at - now) end
  local rank = redis.call('ZRANK', KEYS[3], caller) or redis.call('ZCARD', KEYS[3])
  local free = allowed(state, level) - redis.call('ZCARD', KEYS[2])
  local wait = math.max(state.turn, now) - now
  local answer
  if shut <= 0 and rank < free then
    if wait > patience then
      leave(caller)
      answer = {-1, wait}
    else
      leave(caller)
      local between = gap
      if level < 1 then between = math.max(gap, math.max(state.latency, 1000000) / level) end
      state.turn = now + wait + between
      state.begun = state.begun + 1
      if tonumber(ARGV[7]) >= 0 then state.prepare = average(state.prepare, tonumber(ARGV[7])) end
      redis.call('ZADD', KEYS[2], now + wait + lease, caller)
      answer = {1, wait, now}
    end
  else
    if shut <= 0 and free <= 0 then state.bound_until = now + 250000 end
    local look = math.min(LEAST_LOOK * (1 + math.max(rank - math.max(free, 0), 0)), MOST_LOOK)
    if shut > 0 then look = math.max(look, math.min(shut, MOST_LOOK)) end
    if math.max(look, shut) > patience then
      leave(caller)
      answer = {-1, math.max(shut, look, state.latency * (rank + 1) / math.max(level, 1))}
    else
      if not redis.call('ZSCORE', KEYS[3], caller) then
        state.ticket = state.ticket + 1
        redis.call('ZADD', KEYS[3], state.ticket, caller)
      end
      redis.call('ZADD', KEYS[4], now, caller)
      answer = {0, look}
    end
  end
  save(state)
  for i, value in ipairs(answer) do answer[i] = math.floor(value) end
  return answer
end

-- turn: another turn for a call that holds its slot and missed its own; microseconds to wait.
function commands.turn()
  local state = load()
  if not state then return 0 end
  local wait = math.max(state.turn, now) - now
  state.turn = now + wait + gap
  save(state)
  return math.floor(wait)
end

local function fall(state, begun)
  -- What was under way at the last fall says nothing new.
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

-- give_back CALLER TAKEN_AT ENDING FIGURE JOB: a call whose slot was taken then has ended as `ok` (FIGURE: how long it
-- took), `slow` or `flow` (how long to rest), `failed` or `unused`. Answers 1 while the circuit is open.
function commands.give_back()
  redis.call('ZREM', KEYS[2], ARGV[4])
  local state = load()
  if not state then return 0 end
  advance(state)
  local begun, ending, figure = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
  if ending == 'ok' then
    if figure > 0 then state.latency = average(state.latency, figure) end
    state.run, state.circuit = 0, 0
  elseif ending == 'slow' then
    fall(state, begun)
  elseif ending == 'flow' then
    -- Strangers share this quota: one that is gone in a second is not about us.
    local age = now - state.flow_at
    if age > FLOW_FORGOTTEN then state.flow_at = now
    elseif begun > state.flow_at + LONE_FLOW then fall(state, begun) end
  elseif ending == 'failed' then
    fail(state, begun, ARGV[8])
  end
  if (ending == 'slow' or ending == 'flow') and figure > 0 then
    state.rest_until = math.max(state.rest_until, now + figure)
  end
  save(state)
  return state.circuit > 0 and 1 or 0
end

-- leave CALLER: waits no more.
function commands.leave()
  leave(ARGV[4])
  return 0
end

-- renew LEASE CALLER...: these calls are open still, whatever was forgotten here.
function commands.renew()
  local state = load()
  if state then
    advance(state)
    save(state)
  end
  for i = 5, #ARGV do redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[i]) end
  return 0
end

-- look: the figures, for people and for the dispatcher; nothing if nothing is known.
function commands.look()
  local state = load()
  if not state then return {} end
  local level = level_of(state)
  local figures = {level, state.top, state.climbs, redis.call('ZCOUNT', KEYS[2], now, '+inf'),
    redis.call('ZCARD', KEYS[3]), state.latency, state.prepare, state.begun, state.slow,
    math.max(state.rest_until - now, 0), state.circuit > 0 and math.max(state.probe_at - now, 1) or 0,
    state.slow_at > 0 and now - state.slow_at or -1}
  for i, figure in ipairs(figures) do figures[i] = string.format('%.17g', figure) end
  return figures
end

return commands[ARGV[1]]()
