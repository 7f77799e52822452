-- The peers: nginx with Lua that verifies a canned CloudFront URL (RSA, SHA-1 or SHA-256) and spends it in Redis, and
-- one that only spends, behind nginx's own secure_link. They do the least that such a design must do: no range, no
-- resume, no page, no record of who came.
local ffi = require "ffi"
ffi.cdef [[
typedef struct evp_pkey_st EVP_PKEY; typedef struct evp_md_ctx_st EVP_MD_CTX; typedef struct evp_md_st EVP_MD;
typedef struct bio_st BIO; typedef struct evp_pkey_ctx_st EVP_PKEY_CTX; typedef struct engine_st ENGINE;
BIO *BIO_new_mem_buf(const void *buf, int len); void BIO_free_all(BIO *a);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bp, EVP_PKEY **x, void *cb, void *u);
EVP_MD_CTX *EVP_MD_CTX_new(void); void EVP_MD_CTX_free(EVP_MD_CTX *ctx);
const EVP_MD *EVP_sha1(void); const EVP_MD *EVP_sha256(void);
int EVP_DigestVerifyInit(EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const EVP_MD *type, ENGINE *e, EVP_PKEY *pkey);
int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t siglen, const unsigned char *tbs, size_t tbslen);
]]
local crypto = ffi.load("crypto.so.3")
local settings = ...
local keys = {}

local function key_of(id)
    if keys[id] == nil then
        local file = io.open(settings.keys .. "/" .. id .. ".pem")
        if not file then return nil end
        local pem = file:read("*a"); file:close()
        local bio = crypto.BIO_new_mem_buf(pem, #pem)
        keys[id] = crypto.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
        crypto.BIO_free_all(bio)
    end
    return keys[id]
end

local function refuse() return ngx.exit(403) end

local function spend(nonce, expires)
    local socket = ngx.socket.tcp()
    socket:settimeout(4000)
    if not socket:connect("127.0.0.1", settings.redis_port) then return ngx.exit(503) end
    socket:send("*6\r\n$3\r\nSET\r\n$" .. #nonce .. "\r\n" .. nonce .. "\r\n$1\r\n1\r\n$2\r\nNX\r\n$4\r\nEXAT\r\n$"
        .. #expires .. "\r\n" .. expires .. "\r\n")
    local answer = socket:receive()
    if not answer then return ngx.exit(503) end
    socket:setkeepalive(60000, 1024)
    if answer == "$-1" then return refuse() end
end

local function check()
    local path, query = ngx.var.request_uri:match("^([^?]*)%??(.*)$")
    local own, given = {}, {}
    for segment in query:gmatch("[^&]+") do
        local name, value = segment:match("^([^=]*)=?(.*)$")
        if name == "Expires" or name == "Signature" or name == "Key-Pair-Id" or name == "Hash-Algorithm" then
            given[name] = value
        else
            own[#own + 1] = segment
        end
    end
    if not (given.Expires and given.Signature and given["Key-Pair-Id"]) then return refuse() end
    local key = key_of(given["Key-Pair-Id"])
    if not key then return refuse() end
    local resource = settings.public_url .. path .. (#own > 0 and "?" .. table.concat(own, "&") or "")
    local policy = '{"Statement":[{"Resource":"' .. resource .. '","Condition":{"DateLessThan":{"AWS:EpochTime":'
        .. given.Expires .. "}}}]}"
    local signature = ngx.decode_base64((given.Signature:gsub("[-_~]", { ["-"] = "+", ["_"] = "=", ["~"] = "/" })))
    if not signature then return refuse() end
    local context = crypto.EVP_MD_CTX_new()
    local hash = given["Hash-Algorithm"] == "SHA256" and crypto.EVP_sha256() or crypto.EVP_sha1()
    local fine = crypto.EVP_DigestVerifyInit(context, nil, hash, nil, key) == 1
        and crypto.EVP_DigestVerify(context, signature, #signature, policy, #policy) == 1
    crypto.EVP_MD_CTX_free(context)
    if not fine or tonumber(given.Expires) <= ngx.time() then return refuse() end
    local nonce = query:match("once=g%.([A-Za-z0-9_-]+)")
    if not nonce then return refuse() end
    return spend(nonce, given.Expires)
end

return check, function() return spend(ngx.var.arg_once, ngx.var.arg_expires) end
