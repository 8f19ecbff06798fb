// OpenAPI's page, of files that come with the service.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", validatorUrl: null });
