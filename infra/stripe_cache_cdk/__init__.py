"""AWS CDK constructs and stacks that deploy the Stripe cache."""
