-- For countersign --identity-headers=impersonate, in front of a kube-apiserver: one Impersonate-Group line for each group and one
-- Impersonate-Extra-<key> line for each extra value, which an ext_authz answer alone cannot make. Goes right after ext_authz in
-- http_filters.
--
-- It also is the last to look: nothing goes on but a request with the identity that countersign has let in. So on a route that has
-- ext_authz switched off, everybody gets a 401.
local PREFIX = "impersonate-"
local USER_HEADER = "impersonate-user"
local UID_HEADER = "impersonate-uid"
local GROUP_HEADER = "impersonate-group"
local EXTRA_PREFIX = "impersonate-extra-"

-- client-go's headerKeyEscape, and upper-case letters besides: the name is lowered on the way, and unescaped after that.
local UNSAFE = "[^a-z0-9!#$&'*+%-.^_`|~]"

local UNAUTHORIZED = '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized",'
  .. '"reason":"Unauthorized","code":401}'

local function escaped(key)
  return (key:gsub(UNSAFE, function(byte)
    return string.format("%%%02X", byte:byte())
  end))
end

-- What is there already is never kept, in any spelling, but for the two headers that countersign itself has set.
local function remove_others(headers)
  local found = {}
  for name in pairs(headers) do
    local plain = name:lower():gsub("_", "-")
    if plain:sub(1, #PREFIX) == PREFIX and name ~= USER_HEADER and name ~= UID_HEADER then
      found[#found + 1] = name
    end
  end
  for _, name in ipairs(found) do
    headers:remove(name)
  end
end

-- Whether countersign has told of this identity in its headers as in its metadata.
local function is_told(headers, identity)
  return identity ~= nil
    and headers:get(USER_HEADER) == identity["username"]
    and (headers:get(UID_HEADER) or "") == identity["uid"]
end

local function write(headers, identity)
  remove_others(headers)
  for _, group in ipairs(identity["groups"]) do
    headers:add(GROUP_HEADER, group)
  end
  for key, values in pairs(identity["extra"]) do
    for _, value in ipairs(values) do
      headers:add(EXTRA_PREFIX .. escaped(key), value)
    end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local metadata = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.ext_authz")
  local identity = metadata and metadata["countersign"]
  -- Envoy lets a request go on whose script fails.
  if not (is_told(headers, identity) and pcall(write, headers, identity)) then
    handle:respond({ [":status"] = "401", ["content-type"] = "application/json" }, UNAUTHORIZED)
  end
end
