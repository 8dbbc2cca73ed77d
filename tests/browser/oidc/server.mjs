// An identity provider for tests: one account per role, any password.
import Provider from "oidc-provider";

const { ISSUER: issuer, APP: app } = process.env;
const roles = {
  board: "board",
  bolton: "trust:RMC",
  tameside: "trust:RMP",
  analyst: "analyst",
  steward: "steward",
  admin: "admin",
  nobody: undefined,
};
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "warehouse",
      client_secret: "only-for-tests",
      redirect_uris: [`${app}/oauth2callback`],
      post_logout_redirect_uris: [`${app}/oauth2callback`],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub", "auth_time"], profile: ["name", "imaging_role"] },
  // Puts the claims into the ID token, where Streamlit reads them.
  conformIdTokenClaims: false,
  cookies: { keys: ["only-for-tests"] },
  findAccount: async (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, name: id, imaging_role: roles[id] }),
  }),
});
provider.listen(Number(new URL(issuer).port), "127.0.0.1", () => console.log("ready"));
