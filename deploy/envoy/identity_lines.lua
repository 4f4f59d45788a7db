-- For countersign --groups-encoding=metadata: one X-Remote-Group line for each group and one X-Remote-Extra-<key> line
-- for each extra value, which an ext_authz answer alone cannot make. Goes right after ext_authz in http_filters.
-- The names are those of --identity-group-header and --identity-extra-header-prefix, in lower case.
local GROUP_HEADER = "x-remote-group"
local EXTRA_PREFIX = "x-remote-extra-"

-- Anything but a character of an RFC 7230 token, and `%` itself (a token character, but it starts an escape).
local UNSAFE = "[^%w!#$&'*+%-.^_`|~]"

local function escaped(key)
  return (key:lower():gsub(UNSAFE, function(byte)
    return string.format("%%%02X", byte:byte())
  end))
end

local function is_ours(name)
  local plain = name:lower():gsub("_", "-")
  return plain == GROUP_HEADER or plain:sub(1, #EXTRA_PREFIX) == EXTRA_PREFIX
end

-- What is there already is never kept: without metadata the application sees no group and no extra.
local function remove_ours(headers)
  local found = {}
  for name in pairs(headers) do
    if is_ours(name) then
      found[#found + 1] = name
    end
  end
  for _, name in ipairs(found) do
    headers:remove(name)
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  remove_ours(headers)

  local metadata = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.ext_authz")
  local identity = metadata and metadata["countersign"]
  if identity == nil then
    return
  end

  for _, group in ipairs(identity["groups"] or {}) do
    if group ~= "" then -- kube-apiserver drops an empty group line
      headers:add(GROUP_HEADER, group)
    end
  end
  for key, values in pairs(identity["extra"] or {}) do
    for _, value in ipairs(values) do
      headers:add(EXTRA_PREFIX .. escaped(key), value)
    end
  end
end
