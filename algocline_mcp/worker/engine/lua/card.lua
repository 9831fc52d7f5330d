-- alc.card: what goes to the keeper, which knows what a card is and where it lies.

local room = ...
local ask, encode, settled, complain, null = room.ask, room.encode, room.settled, room.complain, room.null
local concat, match, pcall, type = table.concat, string.match, pcall, type

-- `options` may be left out.
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

-- A function that sends its arguments, "name: kind" each. A null that comes back is nil.
local function sender(name, ...)
  local names, kinds = {}, {}
  for i, argument in ipairs({ ... }) do
    names[i], kinds[i] = match(argument, "^(.+): (.+)$")
  end
  local head, tail = '{"args":[', '],"name":"' .. name .. '","op":"call"}'
  name = "alc." .. name
  return function(...)
    local given, sent = { ... }, {}
    for i = 1, #names do
      sent[i] = settled(name, pcall(encode, checked(given[i], kinds[i], name, names[i]), names[i]))
    end
    local result = ask(head .. concat(sent, ",") .. tail).result
    if result ~= null then
      return result
    end
  end
end

room.alc.card = {
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
