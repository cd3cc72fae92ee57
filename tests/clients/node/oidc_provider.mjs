// An OpenID provider on loopback: node oidc_provider.mjs PORT REDIRECT_URI. Its own pages sign in
// whoever types a name, with the groups that follow a colon: ada:admins,painters.
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: "gateway", client_secret: "s3cret/+ of the gateway",
    redirect_uris: [redirectUri],
    post_logout_redirect_uris: [redirectUri.replace("sso/back", "sign-in")],
  }],
  claims: { openid: ["sub", "email", "email_verified", "groups"] },
  conformIdTokenClaims: false,
  cookies: { keys: ["of a test"] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => {
      const [name, groups = ""] = id.split(":");
      return { sub: id, email: `${name}@example.com`, email_verified: true, groups: groups.split(",") };
    },
  }),
  pkce: { required: () => true },
  scopes: ["openid", "email", "profile"],
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
