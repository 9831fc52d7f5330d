-- alc.card: checks arguments and sends them to the keeper, which stores and finds cards.

local shared = ...
local ask, encode, unwrap_json = shared.ask, shared.encode, shared.unwrap_json
local complain, null = shared.complain, shared.null
local concat, match, pcall, type = table.concat, string.match, pcall, type

-- Checks an argument. An argument of kind `options` may be absent.
local function checked(value, kind, name, what)
  if kind == "options" and (value == nil or value == null) then
    return null
  end
  local wanted = kind == "string" and "string" or "table"
  if type(value) ~= wanted then
    complain("argument", name, what, "a " .. wanted, type(value))
  end
  return value
end

-- A function that sends its arguments, described as "name: kind", and returns the result, nil for null.
local function sender(name, ...)
  local names, kinds = {}, {}
  for i, argument in ipairs({ ... }) do
    names[i], kinds[i] = match(argument, "^(.+): (.+)$")
  end
  local head, tail = '{"args":[', '],"name":"' .. name .. '","op":"call"}'
  local short = name
  name = "alc." .. name
  return function(...)
    shared.assert_name(short, (...))
    local values, sent = { ... }, {}
    for i = 1, #names do
      sent[i] = unwrap_json(name, pcall(encode, checked(values[i], kinds[i], name, names[i]), names[i]))
    end
    local result = ask(head .. concat(sent, ",") .. tail).result
    if result ~= null then
      return result
    end
  end
end

shared.alc.card = {
  create = sender("card.create", "the card: table"),
  append = sender("card.append", "the card_id: string", "the fields: table"),
  write_samples = sender("card.write_samples", "the card_id: string", "the samples: table"),
  alias_set = sender("card.alias_set", "the alias: string", "the card_id: string", "the options: options"),
  get = sender("card.get", "the card_id: string"),
  list = sender("card.list", "the filter: options"),
  find = sender("card.find", "the query: options"),
  lineage = sender("card.lineage", "the query: table"),
  read_samples = sender("card.read_samples", "the card_id: string", "the options: options"),
  get_by_alias = sender("card.get_by_alias", "the alias: string"),
  alias_list = sender("card.alias_list", "the filter: options"),
  sink_backfill = sender("card.sink_backfill", "the options: table"),
}
